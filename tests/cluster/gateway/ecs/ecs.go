// Package ecs stands in for Traefik's package of that name: the clients of AWS behind it are two fifths of what is left to compile,
// and no test has a service there.
package ecs

import (
	"errors"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// Provider refuses to start.
type Provider struct{}

// Init says why there is no such provider.
func (*Provider) Init() error {
	return errors.New("providers.ecs: this Traefik was built without Amazon ECS")
}

// Provide brings no configuration.
func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error {
	return nil
}
