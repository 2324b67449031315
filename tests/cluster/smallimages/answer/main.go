// What the harness's own tests run in pods.
//
//	answer serve NAME    answers every request with NAME, on 8080, until SIGTERM; then finishes what it has begun.
//	                     GET /ask?url=URL asks somebody else, and says yes where an answer comes within two seconds, else no
//	answer exit CODE     ends at once
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: answer serve NAME | answer exit CODE")
		os.Exit(2)
	}
	if os.Args[1] == "exit" {
		code, err := strconv.Atoi(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(code)
	}
	serve(os.Args[2])
}

func serve(name string) {
	server := &http.Server{
		Addr: ":8080",
		Handler: http.HandlerFunc(func(answer http.ResponseWriter, asked *http.Request) {
			if asked.URL.Path == "/ask" {
				fmt.Fprint(answer, ask(asked.URL.Query().Get("url")))
				return
			}
			fmt.Fprint(answer, name)
		}),
		ReadHeaderTimeout: 5 * time.Second,
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		<-signals
		// The gateway hears of the end later than this process.
		time.Sleep(3 * time.Second)
		_ = server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-ended
}

func ask(url string) string {
	// A connection of its own: one that is open already is past every network policy.
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		return "no"
	}
	_ = answer.Body.Close()
	return "yes"
}
