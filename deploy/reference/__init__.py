"""Reference pages that are generated from code: `make docs` writes them to docs/."""
