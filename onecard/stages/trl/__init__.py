"""TRL's trainers, configured, watched and resumed. Nothing else imports trl or knows its names."""
