import GRPCRuntime

extension ChannelOptions {
    /// For the channels between Cabstand's own services: they are few and near, and bookings or lists stand still while one
    /// can't be reached. So a channel looks again after 100 ms to 2 s, where gRPC's default grows to 120 s, and gives up
    /// one attempt after 2 s. Streams that stay open (a driver's app has two) take no room of short calls: where a connection
    /// is full there is another one.
    public static var betweenServices: ChannelOptions {
        var options = ChannelOptions()
        options.initialBackoff = .milliseconds(100)
        options.maximumBackoff = .seconds(2)
        options.connectTimeout = .seconds(2)
        options.maximumConnectionsPerAddress = 16
        return options
    }
}
