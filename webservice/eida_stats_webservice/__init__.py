"""The central web service: `app.create_app` makes it."""
