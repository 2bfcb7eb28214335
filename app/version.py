"""The version of the program, as `GET /version` and the OpenAPI document say it."""

VERSION = "0.1.0"
