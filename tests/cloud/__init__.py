"""An AWS on this machine: what the tests and `make e2e` deploy to and run on."""
