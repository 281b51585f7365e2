// GatewayService: being built.
