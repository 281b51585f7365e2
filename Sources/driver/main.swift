print("driver: being built")
