"""Answers over HTTP: the same application on this machine and behind a Lambda Function URL."""
