"""A Label Studio of its own on this machine, with photos in it and maskloop connected to it."""
