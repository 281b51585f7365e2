// Reactor: being built.
