import FuzzTargets

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The target that CABSTAND_FUZZ_TARGET names. One program holds them all, because linking one takes as long as fuzzing one.
private let target: FuzzTarget = {
    let name = unsafe getenv("CABSTAND_FUZZ_TARGET").map { unsafe String(cString: $0) } ?? ""
    guard let target = FuzzTarget.all.first(where: { $0.name == name }) else {
        fatalError("CABSTAND_FUZZ_TARGET is one of \(FuzzTarget.all.map(\.name).joined(separator: ", "))")
    }
    return target
}()

/// What libFuzzer calls with each input. A promise that is broken ends the program, which is what libFuzzer calls a crash.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // Proof: libFuzzer's bytes are there during the call, and are copied.
    let bytes = unsafe Array(UnsafeBufferPointer(start: data, count: count))
    do {
        try target.runAlone(bytes)
    } catch {
        fatalError("\(target.name): \(error)")
    }
    return 0
}
