"""The official MobileSAM package, run beside ours in an interpreter of its own."""
