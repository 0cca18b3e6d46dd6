"""The audit: folds the log independently of the writer, and compares the books with the result."""
