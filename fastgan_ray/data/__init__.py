"""Pictures from a folder, zip, LMDB or named set to one checked uint8 array."""
