"""Parts that all HTTP routes share: problems, authentication, parameters, request bodies, resources and health."""
