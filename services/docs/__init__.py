"""Documentation: the OpenAPI and AsyncAPI documents, their examples, and the pages that show them."""
