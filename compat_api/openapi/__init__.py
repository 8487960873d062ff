"""GET /openapi.json: every endpoint of the table, as an OpenAPI 3.1 document made from what serves them."""
