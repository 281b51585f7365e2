// ProtobufWire: being built.
