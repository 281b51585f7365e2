print("protoc-gen-cabstand: being built")
