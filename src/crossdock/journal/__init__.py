"""The journal and its lanes: the port with its guarantees, and the in-memory reference."""
