// A front page in Go: small, but with a template and a style sheet as a real application has them.
package main

import (
	"embed"
	"html/template"
	"log"
	"net/http"
	"os"
)

// Compiled into the program: when it changes, the program has to be built again.
//
//go:embed index.html
var files embed.FS

func main() {
	page := template.Must(template.ParseFS(files, "index.html"))
	http.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		if err := page.Execute(w, greeting()); err != nil {
			log.Print(err)
		}
	})
	// Read when it is asked for: when a file in there changes, nothing has to be done.
	http.Handle("/static/", http.FileServer(http.Dir(".")))
	address := ":" + port()
	log.Print("listening on ", address)
	log.Fatal(http.ListenAndServe(address, nil))
}

func greeting() string {
	if value := os.Getenv("GREETING"); value != "" {
		return value
	}
	return "Hello"
}

func port() string {
	if value := os.Getenv("PORT"); value != "" {
		return value
	}
	return "8080"
}
