"""The arithmetic: arrays in, arrays out; no files, clock, environment or exceptions."""
