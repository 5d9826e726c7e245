// Starts Swagger UI on the page /docs, whose policy allows no script inside the page.
SwaggerUIBundle({
  dom_id: "#documentation",
  url: document.getElementById("documentation").dataset.url,
  deepLinking: true,
  validatorUrl: null,
});
