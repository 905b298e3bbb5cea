"""Render the HTML pages: report.html, data.html and the page of a blind vote."""
