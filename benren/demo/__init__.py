"""The demo: whole lessons through the HTTP API, with simulated cameras and compressed time."""
