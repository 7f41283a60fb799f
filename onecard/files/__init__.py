"""Files on the disk and on the hub: written whole or not at all, read with the line of a fault."""
