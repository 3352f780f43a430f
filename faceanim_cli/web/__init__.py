"""The page: a small server on this machine, and the HTML, CSS and JavaScript that it serves."""
