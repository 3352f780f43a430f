"""Provenance: watermark, content credentials and metadata that state that a file is AI-generated."""
