"""Views: authorise, parse the address or a form, call one query or service, render."""
