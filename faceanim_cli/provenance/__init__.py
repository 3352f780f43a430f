"""What a result says about its origin, and how anyone finds it out: watermark, credentials, metadata."""
