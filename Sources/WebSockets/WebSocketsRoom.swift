// WebSockets: being built.
