{
  description = "Reproducible edge-AI compiler toolchains as OCI images, and model conversion inside them";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    crane.url = "github:ipetkov/crane";
    rust-overlay = {
      url = "github:oxalica/rust-overlay";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      crane,
      rust-overlay,
    }:
    let
      systems = [ "x86_64-linux" ];
      each =
        make:
        nixpkgs.lib.genAttrs systems (
          system:
          make (
            import nixpkgs {
              inherit system;
              overlays = [ (import rust-overlay) ];
            }
          )
        );
      # The compiler version stands once, in Cargo.toml.
      compiler = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).package.rust-version;
      # The binary also goes into images, so it is linked statically; with nixpkgs that means musl.
      build =
        pkgs:
        let
          toolchain = pkgs.rust-bin.stable."${compiler}.0".minimal.override {
            targets = [ "x86_64-unknown-linux-musl" ];
          };
          lib = (crane.mkLib pkgs).overrideToolchain toolchain;
          arguments = {
            src = ./.;
            strictDeps = true;
            doCheck = false;
            CARGO_BUILD_TARGET = "x86_64-unknown-linux-musl";
            TARGET_CC = "${pkgs.pkgsStatic.stdenv.cc}/bin/${pkgs.pkgsStatic.stdenv.cc.targetPrefix}cc";
            CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER = "${pkgs.pkgsStatic.stdenv.cc}/bin/${pkgs.pkgsStatic.stdenv.cc.targetPrefix}cc";
          };
        in
        lib.buildPackage (arguments // { cargoArtifacts = lib.buildDepsOnly arguments; });
    in
    {
      packages = each (pkgs: rec {
        modelconverter = build pkgs;
        default = modelconverter;
      });
      checks = each (pkgs: {
        build = build pkgs;
      });
      devShells = each (pkgs: {
        default = pkgs.mkShell {
          packages = [ pkgs.rust-bin.stable."${compiler}.0".default ];
        };
      });
    };
}
