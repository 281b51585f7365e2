import CZlib

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Where zlib's memory comes from: the C library, as long as it may.
enum ZlibMemory {
    /// Kept by each thread: how many allocations zlib still gets there, and one more; 0: as many as there is memory for.
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        return unsafe pthread_key_create(&key, nil) == 0 ? key : nil
    }()

    /// How many allocations zlib still gets on this thread, nil: no end of them. For tests of what happens when memory has run out:
    /// nobody on another thread notices.
    static var allocationsLeft: Int? {
        get {
            guard let key else { return nil }
            let kept = unsafe UInt(bitPattern: pthread_getspecific(key))
            return kept == 0 ? nil : Int(clamping: kept) - 1
        }
        set {
            guard let key else { return }
            let kept = newValue.map { UInt(clamping: $0) + 1 } ?? 0
            unsafe pthread_setspecific(key, UnsafeRawPointer(bitPattern: kept))
        }
    }

    /// A stream that asks here.
    static func emptyStream() -> z_stream {
        var stream = unsafe z_stream()
        unsafe stream.zalloc = { _, count, size in
            if let left = ZlibMemory.allocationsLeft {
                guard left > 0 else { return nil }
                ZlibMemory.allocationsLeft = left - 1
            }
            // Both are small: zlib asks for no more than its window and its tables.
            let (bytes, overflows) = Int(count).multipliedReportingOverflow(by: Int(size))
            return overflows ? nil : unsafe malloc(bytes)
        }
        unsafe stream.zfree = { _, memory in unsafe free(memory) }
        return unsafe stream
    }
}
