// HTTP1: being built.
