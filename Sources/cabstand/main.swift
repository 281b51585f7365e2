print("cabstand: being built")
