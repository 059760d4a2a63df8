package agent_test

import "errors"

func dropPrivileges() error { return errors.New("there are none to drop") }
