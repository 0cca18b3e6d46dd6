"""The background processes. Each module is one worker, and `table.py` lists them."""
