"""Mailgun, SendGrid and Amazon SES as they look from outside, played on real sockets."""
