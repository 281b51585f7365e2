// JSONWire: being built.
