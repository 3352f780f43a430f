"""The web page: a local server, and the HTML, CSS and JavaScript that it serves."""
