print("gateway: being built")
