package top

import "os"

// notifyResize does nothing: there is no signal, and each view asks for the size.
func notifyResize(chan os.Signal) (stop func()) { return func() {} }

// suspend does nothing: there is no such thing.
func (*screen) suspend() error { return nil }
