window.ui = SwaggerUIBundle({
  url: "/api/spec.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  // Nothing is sent to a validator on another host.
  validatorUrl: null,
});
