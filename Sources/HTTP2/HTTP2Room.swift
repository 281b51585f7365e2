// HTTP2: being built.
