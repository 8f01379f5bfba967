"use strict";

// Swagger UI has a dark theme, but no setting that follows the system's.
const dark = matchMedia("(prefers-color-scheme: dark)");
const applyTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", applyTheme);
applyTheme();

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  showCommonExtensions: true, // ranges and patterns of parameters
  validatorUrl: null, // the default sends the document to validator.swagger.io
});
