"""The report of a suite's runs as one HTML file that needs neither a network nor a server: :func:`page.write_report`."""
