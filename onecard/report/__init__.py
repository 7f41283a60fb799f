"""What a run found: results.json, report.md and report.html, the table at its end."""
