"""What puts Burnish on a machine; bootstrap.py needs the standard library only."""
