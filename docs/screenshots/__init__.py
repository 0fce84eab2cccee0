"""Scripts that take the pictures of the manual: GUI scenes that are clicked through, and galleries that the engine makes."""
